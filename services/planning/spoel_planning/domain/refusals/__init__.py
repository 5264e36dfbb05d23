"""Every refusal of planning, one class a kind, by what is decided."""
