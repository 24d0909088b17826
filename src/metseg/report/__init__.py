"""What people look at: windows, radiological slices, outlines, the preview picture and the HTML report."""
