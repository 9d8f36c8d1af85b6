"""What hostile code would try in a media process, tried in one."""
