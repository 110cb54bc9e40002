"""The formats, one file each; see `convsmith.deploy.format`."""
