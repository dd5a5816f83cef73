"""The steps of an experiment as Tasks: each makes the job that does the work, and commits what the job produced."""
