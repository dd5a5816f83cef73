"""What people look at: plots of one model and of one run. No torch and no pandas, so that any plane may draw."""
