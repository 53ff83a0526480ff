/* SPDX-License-Identifier: MPL-2.0
 *
 * The plugin dmabufcpu, for C and C++: its allocators, and pixel work of your own in dmabuffilter.
 *
 * There is nothing to link with but GStreamer (pkg-config gstreamer-1.0 gstreamer-video-1.0): what
 * is here goes through the element's signals, wherever the plugin was loaded from.
 *
 * Functions and handlers are called by streaming threads.
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
 * gst_allocator_find(), with the plugin loaded before. Devices are opened by the first
 * gst_allocator_alloc(), which gives NULL, and says why in the log, where there is none.
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
 * @GST_DMABUFCPU_READ: the function reads
 * @GST_DMABUFCPU_WRITE: the function changes pixels; without this it is lent frames that others
 *   hold, too, without a copy, in brackets for reading, and must not write
 * @GST_DMABUFCPU_THREADS: the function may be called by several threads at once, with windows of
 *   the same frame; it is then given no second windows
 */
typedef enum
{
  GST_DMABUFCPU_READ = 1 << 0,
  GST_DMABUFCPU_WRITE = 1 << 1,
  GST_DMABUFCPU_THREADS = 1 << 2
} GstDmaBufCpuFlags;

/**
 * GstDmaBufCpuRows:
 * @data: the first row's first byte
 * @size: bytes from there to the last row's last: (n_rows - 1) * stride + row_bytes
 * @stride: bytes from one row to the next; what lies between rows is not yours
 * @row_bytes: bytes of a row that belong to the picture
 * @pixel_bytes: bytes from one pixel of this plane to the next, 0 where that is no whole number
 * @plane: number of the plane
 * @first_row: number of the first row in its plane
 * @n_rows: rows
 * @columns: pixels in a row of this plane
 * @plane_rows: rows of the whole plane
 *
 * Whole rows of one plane, within the frame's bracket. Planes are those of the frame's picture: of the
 * rectangle of its GstVideoCropMeta, if it has one. Where that begins at an odd place, samples of
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
 * @rows: the rows, each of the frame's rows being in one window
 * @info: format, size and colorimetry of the frame (its strides are in @rows)
 * @pts: presentation time, or GST_CLOCK_TIME_NONE
 * @duration: how long it is shown, or GST_CLOCK_TIME_NONE
 * @frame: the frame's number since the element was started, from 0
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
 * @user_data: as given
 *
 * Called by a streaming thread for each window of each frame: plane by plane, from top to bottom.
 * It must neither block nor allocate nor call the system: devices wait for the buffer meanwhile.
 * Longer than the element's fence-timeout for a frame is an error. Unless the function has the flag
 * GST_DMABUFCPU_THREADS, all windows of a frame are in one bracket and one mapping, whatever
 * sync-scope and map-mode say.
 *
 * Returns: %FALSE ends the stream with an error
 */
typedef gboolean (*GstDmaBufCpuWindowFunc) (GstDmaBufCpuWindow * window, gpointer user_data);

/**
 * GstDmaBufCpuFunction:
 *
 * What the action signal "set-window-function" takes a pointer to; see
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
 * @flags: #GstDmaBufCpuFlags, GST_DMABUFCPU_READ or GST_DMABUFCPU_WRITE among them
 * @window: (nullable): called with each window, from the next frame on; %NULL takes the one
 *   that is set away
 * @user_data: for @window; used by streaming threads
 * @destroy: (nullable): called with @user_data, by any thread, when the function is replaced or
 *   the element is gone
 *
 * Has @window work on all frames, after what the element's properties ask for and before overlays
 * are drawn.
 *
 * Returns: %FALSE when @filter is no dmabuffilter, or the flags are wrong, of which a warning on
 *   the bus tells; @destroy is not called then
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
 * @window: the window that the function was called with
 * @plane: number of a plane
 * @first_row: number of a row in it
 * @n_rows: how many, at least one
 * @second: (out caller-allocates): the rows
 *
 * Lends a second window beside the first: any rows that are not in it. Rows above it have been
 * worked on already. There are never three: gst_dmabufcpu_window_close_second() comes before the
 * next.
 *
 * Returns: %FALSE, with an error on the bus after the function has returned, when a second is open
 *   already, when there are no such rows or they are in the first window, or when the function has
 *   the flag GST_DMABUFCPU_THREADS
 */
static inline gboolean
gst_dmabufcpu_window_open_second (GstDmaBufCpuWindow * window, guint plane,
    guint first_row, guint n_rows, GstDmaBufCpuRows * second)
{
  return window->open_second (window, plane, first_row, n_rows, second);
}

/**
 * gst_dmabufcpu_window_close_second:
 * @window: the window that the function was called with
 *
 * Gives the second window back.
 */
static inline void
gst_dmabufcpu_window_close_second (GstDmaBufCpuWindow * window)
{
  window->close_second (window);
}

/**
 * GstDmaBufCpuWindowHandler:
 * @filter: the dmabuffilter
 * @address: the first row's first byte
 * @size: bytes from there to the last row's last
 * @plane: number of the plane
 * @first_row: number of the first row
 * @n_rows: rows
 * @stride: bytes from one row to the next
 * @format: of the frame
 * @user_data: as connected
 *
 * A handler of the signals "window" (reads and writes) and "read-window" (reads), which hand
 * windows to any language.
 *
 * Returns: %FALSE ends the stream with an error
 */
typedef gboolean (*GstDmaBufCpuWindowHandler) (GstElement * filter, guint64 address,
    guint64 size, guint plane, guint first_row, guint n_rows, guint stride,
    GstVideoFormat format, gpointer user_data);

G_END_DECLS

#endif /* GST_DMABUFCPU_H */
