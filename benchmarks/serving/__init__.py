"""What does Triton cost a loop, what do jobs side by side gain from it, and how fast does the gateway answer?"""
