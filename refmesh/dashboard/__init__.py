"""The page of `refmesh dashboard`: traffic, configuration and certificates, as plain HTML and inline SVG."""
