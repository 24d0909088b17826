"""The service: studies come in by HTTP, become durable jobs, are segmented apart from it, and results go out."""
