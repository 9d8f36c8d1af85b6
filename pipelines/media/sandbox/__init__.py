"""The sandbox that media is decoded in: what a process can't do, whatever the bytes of strangers make of it."""
