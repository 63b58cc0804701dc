"""Figures of any runs: a study is what is stored of one data set and network under one protocol."""
