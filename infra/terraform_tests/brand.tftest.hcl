# What every brand's stack keeps, told in Terraform's own words: `terraform test` in a stack's folder, with or without a network.
# Nothing is made: the provider is a mock, and so are the platform's parameters.
# Only planned, since what holds data refuses to be destroyed, which a test would do with what it applied.
mock_provider "aws" {
  override_during = plan
}

override_data {
  target          = data.aws_ssm_parameter.subnets
  override_during = plan
  values          = { insecure_value = "subnet-a,subnet-b" }
}

run "data_are_the_brands_alone" {
  command = plan

  assert {
    condition = alltrue(flatten([
      for statement in jsondecode(aws_iam_role_policy.worker.policy).Statement : [
        for resource in statement.Resource : startswith(resource, "arn:aws:s3:::${aws_s3_bucket.data.bucket}")
      ] if startswith(statement.Action[0], "s3:")
    ]))
    error_message = "The worker reaches a bucket that is not the brand's."
  }

  assert {
    condition = length([
      for statement in jsondecode(aws_s3_bucket_policy.data.policy).Statement : statement
      if statement.Effect == "Deny" && try(statement.Condition.Bool["aws:SecureTransport"], "") == "false"
    ]) == 1
    error_message = "The bucket takes requests without TLS."
  }

  assert {
    condition     = aws_s3_bucket_versioning.data.versioning_configuration[0].status == "Enabled"
    error_message = "What is overwritten is lost."
  }

  assert {
    condition     = aws_ecr_repository.images.image_tag_mutability == "IMMUTABLE"
    error_message = "A tag may mean another image tomorrow."
  }
}
