"""Hard caps on what model calls may take, checked before each call through slices lent to processes."""
