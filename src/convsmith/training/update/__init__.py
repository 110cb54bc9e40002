"""Parts of an optimizer step: groups, optimizer, gradients, averages, tricks."""
