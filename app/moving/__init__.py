"""Moving house: what one project, one thread or all hold, taken out as lines and brought in again."""
