"""What tests of streamflow pipelines are made of, ours and yours."""
