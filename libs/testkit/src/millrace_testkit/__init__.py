"""What Millrace's tests share."""
