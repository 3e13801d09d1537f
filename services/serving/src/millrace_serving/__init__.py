"""The serving service: answers with the champion, on the stream and over HTTP, and says which version answered."""
