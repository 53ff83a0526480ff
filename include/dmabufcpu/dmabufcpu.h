/* SPDX-License-Identifier: MPL-2.0
 *
 * C and C++ interface of the plugin dmabufcpu: its allocators, and window functions that process
 * pixels in dmabuffilter.
 *
 * Link with GStreamer only (pkg-config gstreamer-1.0 gstreamer-video-1.0). The functions below use
 * the element's signals, so they work wherever the plugin was loaded from.
 *
 * Streaming threads call window functions and signal handlers.
 */
#ifndef GST_DMABUFCPU_H
#define GST_DMABUFCPU_H

#include <gst/gst.h>
#include <gst/video/video.h>

G_BEGIN_DECLS

/* Names for gst_dmabufcpu_allocator_find(). */
#define GST_DMABUFCPU_ALLOCATOR_DMA_HEAP "dmabufcpu-dma-heap"
#define GST_DMABUFCPU_ALLOCATOR_UDMABUF  "dmabufcpu-udmabuf"
#define GST_DMABUFCPU_ALLOCATOR_DRM_DUMB "dmabufcpu-drm-dumb"
#define GST_DMABUFCPU_ALLOCATOR_MEMFD    "dmabufcpu-memfd"

/**
 * gst_dmabufcpu_allocator_find:
 * @name: one of the names above
 *
 * Loads the plugin and calls gst_allocator_find(). The first gst_allocator_alloc() opens the
 * device. If there is none, it returns %NULL and logs the reason.
 *
 * Returns: (transfer full) (nullable): the allocator
 */
static inline GstAllocator *
gst_dmabufcpu_allocator_find (const gchar * name)
{
  GstPlugin *plugin = gst_plugin_load_by_name ("dmabufcpu");

  if (plugin != NULL)
    gst_object_unref (plugin);
  return gst_allocator_find (name);
}

/**
 * GstDmaBufCpuFlags:
 * @GST_DMABUFCPU_READ: the function reads pixels
 * @GST_DMABUFCPU_WRITE: the function changes pixels. Without this flag the function must not write:
 *   it also gets shared frames without a copy, and brackets are for reading
 * @GST_DMABUFCPU_THREADS: several threads may call the function at once with windows of the same
 *   frame. Second windows are not available then
 */
typedef enum
{
  GST_DMABUFCPU_READ = 1 << 0,
  GST_DMABUFCPU_WRITE = 1 << 1,
  GST_DMABUFCPU_THREADS = 1 << 2
} GstDmaBufCpuFlags;

/**
 * GstDmaBufCpuRows:
 * @data: first byte of the first row
 * @size: bytes from @data to the end of the last row: (n_rows - 1) * stride + row_bytes
 * @stride: bytes from one row to the next; the padding between rows must not be accessed
 * @row_bytes: bytes of a row that belong to the picture
 * @pixel_bytes: bytes from one pixel of this plane to the next, 0 if that is not a whole number
 * @plane: index of the plane
 * @first_row: index of the first row in its plane
 * @n_rows: number of rows
 * @columns: number of pixels in a row of this plane
 * @plane_rows: number of rows of the whole plane
 *
 * Whole rows of one plane, accessible within the frame's bracket. Planes are those of the frame's
 * picture: of the rectangle of its GstVideoCropMeta, if it has one. Where that begins at an odd place, samples of
 * subsampled planes at its left and upper edge also stand for pixels outside of it, and a row of a
 * packed format (YUY2) begins with the pixel to the left of it: @columns is more than the width of
 * the window's info then.
 */
typedef struct
{
  guint8 *data;
  gsize size;
  gsize stride;
  gsize row_bytes;
  gsize pixel_bytes;
  guint plane;
  guint first_row;
  guint n_rows;
  guint columns;
  guint plane_rows;
} GstDmaBufCpuRows;

typedef struct _GstDmaBufCpuWindow GstDmaBufCpuWindow;

/**
 * GstDmaBufCpuWindow:
 * @rows: the rows; each row of the frame is in exactly one window
 * @info: format, size and colorimetry of the frame (for strides, see @rows)
 * @pts: presentation time, or GST_CLOCK_TIME_NONE
 * @duration: duration, or GST_CLOCK_TIME_NONE
 * @frame: number of the frame since the element was started, from 0
 */
struct _GstDmaBufCpuWindow
{
  GstDmaBufCpuRows rows;
  const GstVideoInfo *info;
  GstClockTime pts;
  GstClockTime duration;
  guint64 frame;

  /*< private >*/
  gboolean (*open_second) (GstDmaBufCpuWindow * window, guint plane, guint first_row,
      guint n_rows, GstDmaBufCpuRows * second);
  void (*close_second) (GstDmaBufCpuWindow * window);
  gpointer session;
};

/**
 * GstDmaBufCpuWindowFunc:
 * @window: valid until the function returns
 * @user_data: the pointer passed with the function
 *
 * Processes one window. A streaming thread calls the function for each window of each frame, plane
 * by plane, from top to bottom. The function must not block, allocate or make system calls, because
 * devices wait for the buffer. Taking longer than the element's fence-timeout for a frame is an
 * error. Unless the flag GST_DMABUFCPU_THREADS is set, all windows of a frame share one bracket and
 * one mapping, regardless of sync-scope and map-mode.
 *
 * Returns: %FALSE to end the stream with an error
 */
typedef gboolean (*GstDmaBufCpuWindowFunc) (GstDmaBufCpuWindow * window, gpointer user_data);

/**
 * GstDmaBufCpuFunction:
 *
 * Argument of the action signal "set-window-function", passed by pointer; see
 * gst_dmabufcpu_filter_set_window_function().
 */
typedef struct
{
  gsize struct_size;
  guint32 flags;
  GstDmaBufCpuWindowFunc window;
  gpointer user_data;
  GDestroyNotify destroy;
} GstDmaBufCpuFunction;

/**
 * gst_dmabufcpu_filter_set_window_function:
 * @filter: a dmabuffilter
 * @flags: #GstDmaBufCpuFlags, including GST_DMABUFCPU_READ or GST_DMABUFCPU_WRITE
 * @window: (nullable): called with each window, starting with the next frame; %NULL removes the
 *   current function
 * @user_data: passed to @window; used by streaming threads
 * @destroy: (nullable): called with @user_data, from any thread, when the function is replaced or
 *   the element is finalized
 *
 * Calls @window for all frames, after the operations selected by the element's properties and
 * before overlays are drawn.
 *
 * Returns: %FALSE if @filter is not a dmabuffilter or the flags are invalid, which is also reported
 *   as a warning on the bus; @destroy is not called then
 */
static inline gboolean
gst_dmabufcpu_filter_set_window_function (GstElement * filter, guint flags,
    GstDmaBufCpuWindowFunc window, gpointer user_data, GDestroyNotify destroy)
{
  GstDmaBufCpuFunction function;
  gboolean taken = FALSE;

  if (g_signal_lookup ("set-window-function", G_OBJECT_TYPE (filter)) == 0)
    return FALSE;
  function.struct_size = sizeof (function);
  function.flags = flags;
  function.window = window;
  function.user_data = user_data;
  function.destroy = destroy;
  g_signal_emit_by_name (filter, "set-window-function",
      window != NULL ? (gpointer) & function : NULL, &taken);
  return taken;
}

/**
 * gst_dmabufcpu_window_open_second:
 * @window: the window passed to the function
 * @plane: index of a plane
 * @first_row: index of a row in that plane
 * @n_rows: number of rows, at least one
 * @second: (out caller-allocates): the rows
 *
 * Opens a second window on any rows that are not in @window. Rows above @window have already been
 * processed. At most one second window can be open: call gst_dmabufcpu_window_close_second() before
 * opening another.
 *
 * Returns: %FALSE if a second window is already open, if the rows do not exist or are in @window,
 *   or if the function has the flag GST_DMABUFCPU_THREADS. An error is posted on the bus after the
 *   function has returned
 */
static inline gboolean
gst_dmabufcpu_window_open_second (GstDmaBufCpuWindow * window, guint plane,
    guint first_row, guint n_rows, GstDmaBufCpuRows * second)
{
  return window->open_second (window, plane, first_row, n_rows, second);
}

/**
 * gst_dmabufcpu_window_close_second:
 * @window: the window passed to the function
 *
 * Closes the second window.
 */
static inline void
gst_dmabufcpu_window_close_second (GstDmaBufCpuWindow * window)
{
  window->close_second (window);
}

/**
 * GstDmaBufCpuWindowHandler:
 * @filter: the dmabuffilter
 * @address: address of the first byte of the first row
 * @size: bytes from @address to the end of the last row
 * @plane: index of the plane
 * @first_row: index of the first row
 * @n_rows: number of rows
 * @stride: bytes from one row to the next
 * @format: format of the frame
 * @user_data: the pointer passed to g_signal_connect()
 *
 * Handles the signals "window" (read and write) and "read-window" (read only), which pass windows
 * to any language.
 *
 * Returns: %FALSE to end the stream with an error
 */
typedef gboolean (*GstDmaBufCpuWindowHandler) (GstElement * filter, guint64 address,
    guint64 size, guint plane, guint first_row, guint n_rows, guint stride,
    GstVideoFormat format, gpointer user_data);

G_END_DECLS

#endif /* GST_DMABUFCPU_H */
