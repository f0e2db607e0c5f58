"""Clustering and matching in numpy and FAISS; no Spark."""
