"""Moving house from a shell: lines of a file to a running API in batches, pages of a running API to a file."""
