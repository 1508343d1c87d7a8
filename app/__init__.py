"""The Sovereign Assistant API.

Importing the package puts the fixed SQLite engine in place before anything else can import `sqlite3`.
"""

from app.db.driver import install_fixed_sqlite

install_fixed_sqlite()

__version__ = "2.0.0"
