"""What clip paths, masks, filters, blend modes and the opacity of groups make of shapes."""
