"""What stages hand over: files, described here once for the stage that writes and the stage that reads."""
