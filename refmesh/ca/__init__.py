"""The issuing CA: keys, checks on what may be signed, the signing service. Kept free of imports for the agent."""
