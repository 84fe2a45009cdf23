"""The demo: a page on a server of this computer, with images in and bodies out. `hmr demo` starts it."""
