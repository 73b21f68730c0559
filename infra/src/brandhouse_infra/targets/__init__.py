"""Where stacks run: `aws`, or `local` (this machine and on-premises). A target chooses constructs, state and provider."""
