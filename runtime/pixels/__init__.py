"""Pictures drawn pixel by pixel in any order: generation orders, local masks, hidden regions."""
