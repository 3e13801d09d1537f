"""How good a model is (`measure`), beside what needs none (`naive`) and the champion, and what gates ask for (`checks`)."""
