"""What knows no other part of the package: files, downloads, hardware, tables."""
