/* SPDX-License-Identifier: MPL-2.0
 *
 * What a window function in C can do wrong.
 *
 *   misuse CASE SOURCE SINK
 *
 * CASE is one of third, outside, overlap, false, threads, block, or fine. Prints "windows N
 * opened M destroyed D", and "error: ..." where there is one.
 */
#include <dmabufcpu/dmabufcpu.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct
{
  const char *name;
  int windows;
  int opened;
  int destroyed;
} Case;

static gboolean
work (GstDmaBufCpuWindow * window, gpointer user_data)
{
  Case *self = (Case *) user_data;
  GstDmaBufCpuRows second;
  guint behind = window->rows.first_row + window->rows.n_rows;

  self->windows++;
  if (strcmp (self->name, "third") == 0) {
    self->opened += gst_dmabufcpu_window_open_second (window, 0, behind, 1, &second);
    self->opened += gst_dmabufcpu_window_open_second (window, 0, behind + 1, 1, &second);
  } else if (strcmp (self->name, "outside") == 0) {
    self->opened += gst_dmabufcpu_window_open_second (window, 0,
        window->rows.plane_rows, 1, &second);
  } else if (strcmp (self->name, "overlap") == 0) {
    self->opened += gst_dmabufcpu_window_open_second (window, 0, behind - 1, 2, &second);
  } else if (strcmp (self->name, "threads") == 0) {
    self->opened += gst_dmabufcpu_window_open_second (window, 0, behind, 1, &second);
  } else if (strcmp (self->name, "false") == 0) {
    return FALSE;
  } else if (strcmp (self->name, "block") == 0) {
    g_usleep (1500 * 1000);
  } else if (behind < window->rows.plane_rows) {
    /* One after another, as often as one likes. */
    self->opened += gst_dmabufcpu_window_open_second (window, 0, behind, 1, &second);
    gst_dmabufcpu_window_close_second (window);
    self->opened += gst_dmabufcpu_window_open_second (window, 0, behind, 1, &second);
    gst_dmabufcpu_window_close_second (window);
  }
  return TRUE;
}

static void
destroyed (gpointer user_data)
{
  ((Case *) user_data)->destroyed++;
}

int
main (int argc, char **argv)
{
  Case self = { NULL, 0, 0, 0 };
  GError *error = NULL;
  GstElement *pipeline, *filter;
  GstAllocator *allocator;
  GstMessage *message;
  guint flags = GST_DMABUFCPU_READ | GST_DMABUFCPU_WRITE;
  gchar *line;
  int status = EXIT_SUCCESS;

  if (argc != 4) {
    fprintf (stderr, "usage: %s CASE SOURCE SINK\n", argv[0]);
    return 2;
  }
  gst_init (NULL, NULL);
  allocator = gst_dmabufcpu_allocator_find (GST_DMABUFCPU_ALLOCATOR_MEMFD);
  if (allocator == NULL) {
    printf ("no allocator\n");
    return EXIT_FAILURE;
  }
  gst_object_unref (allocator);
  self.name = argv[1];
  if (strcmp (self.name, "threads") == 0)
    flags |= GST_DMABUFCPU_THREADS;
  line = g_strdup_printf ("%s ! dmabuffilter name=filter window-pages=4 fence-timeout=500000000"
      " ! %s", argv[2], argv[3]);
  pipeline = gst_parse_launch (line, &error);
  g_free (line);
  if (error != NULL) {
    printf ("error: %s\n", error->message);
    return EXIT_FAILURE;
  }
  filter = gst_bin_get_by_name (GST_BIN (pipeline), "filter");
  if (gst_dmabufcpu_filter_set_window_function (pipeline, flags, work, &self, destroyed)) {
    printf ("a pipeline takes functions\n");
    return EXIT_FAILURE;
  }
  if (!gst_dmabufcpu_filter_set_window_function (filter, flags, work, &self, destroyed)) {
    printf ("not taken\n");
    return EXIT_FAILURE;
  }
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  message = gst_bus_timed_pop_filtered (GST_ELEMENT_BUS (pipeline), 100 * GST_SECOND,
      (GstMessageType) (GST_MESSAGE_EOS | GST_MESSAGE_ERROR));
  if (message == NULL || GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR) {
    status = EXIT_FAILURE;
    if (message != NULL) {
      gst_message_parse_error (message, &error, NULL);
      printf ("error: %s\n", error->message);
      g_error_free (error);
    }
  }
  if (message != NULL)
    gst_message_unref (message);
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_dmabufcpu_filter_set_window_function (filter, 0, NULL, NULL, NULL);
  printf ("windows %d opened %d destroyed %d\n", self.windows, self.opened, self.destroyed);
  gst_object_unref (filter);
  gst_object_unref (pipeline);
  return status;
}
