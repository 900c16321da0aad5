"""What goes on by rules, to whom and when: the rules, what they put into the queue, and who works it off."""
