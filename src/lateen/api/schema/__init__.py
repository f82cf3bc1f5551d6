"""What documents may hold: Kubernetes' own schemas as data, structural schemas of CRDs, validation and
defaults.
"""
