"""What runs inside the children: standard library only, never imported by the program itself."""
