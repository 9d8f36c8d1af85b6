"""Files that are none, or not any more: mutated by chance, and what each operation says of them."""
