"""What an optimizer step consists of: groups, optimizer, gradients, averages, tricks."""
