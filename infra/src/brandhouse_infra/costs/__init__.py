"""What a stack costs a month, from its plan and a dated table of prices, before anything exists."""
