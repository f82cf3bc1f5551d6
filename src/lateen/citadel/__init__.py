"""The certificate authority: root, SPIFFE certificates for workloads, trust bundles in every namespace."""
