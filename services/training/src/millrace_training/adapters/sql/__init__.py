"""What is kept between events, in SQL: the handlers' books, and what the runner and people read of them."""
