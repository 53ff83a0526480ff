/* SPDX-License-Identifier: MPL-2.0
 *
 * Flips a camera's frames vertically in place, in any format. Swaps each row with its mirror row,
 * which it reaches through a second window.
 *
 *   vertical_flip [SOURCE [SINK]], in gst-launch-1.0 syntax, for example
 *   vertical_flip 'v4l2src io-mode=dmabuf' waylandsink
 *
 *   cc -Iinclude examples/vertical_flip.c -o vertical_flip \
 *     $(pkg-config --cflags --libs gstreamer-1.0 gstreamer-video-1.0)
 *
 * The plugin must be on GST_PLUGIN_PATH at run time.
 */
#include <dmabufcpu/dmabufcpu.h>
#include <glib-unix.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static void
swap (guint8 * one, guint8 * other, gsize size)
{
  gsize i;

  for (i = 0; i < size; i++) {
    guint8 byte = one[i];
    one[i] = other[i];
    other[i] = byte;
  }
}

static gboolean
flip (GstDmaBufCpuWindow * window, gpointer user_data)
{
  const GstDmaBufCpuRows *rows = &window->rows;
  guint number;

  (void) user_data;
  for (number = 0; number < rows->n_rows; number++) {
    guint row = rows->first_row + number;
    guint mirror = rows->plane_rows - 1 - row;
    guint8 *data = rows->data + number * rows->stride;
    GstDmaBufCpuRows second;

    if (row >= mirror)
      break;                    /* The lower half is already swapped. */
    if (mirror < rows->first_row + rows->n_rows) {
      swap (data, rows->data + (mirror - rows->first_row) * rows->stride, rows->row_bytes);
      continue;
    }
    if (!gst_dmabufcpu_window_open_second (window, rows->plane, mirror, 1, &second))
      return FALSE;
    swap (data, second.data, rows->row_bytes);
    gst_dmabufcpu_window_close_second (window);
  }
  return TRUE;
}

typedef struct
{
  GstElement *pipeline;
  GMainLoop *loop;
  int status;
} App;

static gboolean
on_message (GstBus * bus, GstMessage * message, gpointer user_data)
{
  App *app = (App *) user_data;

  (void) bus;
  if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR) {
    GError *error = NULL;

    gst_message_parse_error (message, &error, NULL);
    g_printerr ("error: %s: %s\n", GST_MESSAGE_SRC_NAME (message), error->message);
    g_error_free (error);
    app->status = EXIT_FAILURE;
    g_main_loop_quit (app->loop);
  } else if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_EOS) {
    g_main_loop_quit (app->loop);
  }
  return TRUE;
}

static gboolean
on_interrupt (gpointer user_data)
{
  gst_element_send_event (((App *) user_data)->pipeline, gst_event_new_eos ());
  return TRUE;
}

int
main (int argc, char **argv)
{
  App app = { NULL, NULL, EXIT_SUCCESS };
  GError *error = NULL;
  GstElement *filter;
  GstStructure *stats = NULL;
  GstBus *bus;
  gchar *text;

  gst_init (NULL, NULL);
  text = g_strdup_printf ("%s ! dmabuffilter name=filter ! %s",
      argc > 1 ? argv[1] : "videotestsrc", argc > 2 ? argv[2] : "autovideosink");
  app.pipeline = gst_parse_launch (text, &error);
  g_free (text);
  if (error != NULL) {
    g_printerr ("error: %s\n", error->message);
    return EXIT_FAILURE;
  }
  filter = gst_bin_get_by_name (GST_BIN (app.pipeline), "filter");
  if (!gst_dmabufcpu_filter_set_window_function (filter,
          GST_DMABUFCPU_READ | GST_DMABUFCPU_WRITE, flip, NULL, NULL)) {
    g_printerr ("error: this dmabuffilter takes no function\n");
    return EXIT_FAILURE;
  }
  app.loop = g_main_loop_new (NULL, FALSE);
  bus = gst_element_get_bus (app.pipeline);
  gst_bus_add_watch (bus, on_message, &app);
  g_unix_signal_add (SIGINT, on_interrupt, &app);
  gst_element_set_state (app.pipeline, GST_STATE_PLAYING);
  g_main_loop_run (app.loop);

  g_object_get (filter, "stats", &stats, NULL);
  text = gst_structure_to_string (stats);
  g_print ("%s\n", text);
  g_free (text);
  gst_structure_free (stats);
  gst_element_set_state (app.pipeline, GST_STATE_NULL);
  gst_bus_remove_watch (bus);
  gst_object_unref (bus);
  gst_object_unref (filter);
  gst_object_unref (app.pipeline);
  g_main_loop_unref (app.loop);
  return app.status;
}
