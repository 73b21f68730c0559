"""What one brand's stack is made of, one module a concern. A construct takes the stack's blocks and the brand's place."""
