"""Whether stacks are as safe as they are meant to be: rules on what a plan holds, and IAM policies evaluated brand against brand."""
