// Nothing to call: the target only adds definitions that keep the shared library loadable with an older glibc.
