/* SPDX-License-Identifier: MPL-2.0
 *
 * Allocates frames by an allocator's name, fills them under a map, and pushes them through
 * appsrc ! dmabuffilter invert=true ! SINK.
 *
 *   allocate_and_push ALLOCATOR SINK FRAMES
 *
 * Prints one line a frame, then "done FRAMES copied COPIES". The bytes of a frame: 4 a pixel, blue is the
 * column, green the row, red the number of the frame, each modulo 256.
 */
#include <gst/allocators/gstdmabuf.h>
#include <gst/allocators/gstfdmemory.h>
#include <gst/app/gstappsrc.h>
#include <gst/gst.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WIDTH 1024
#define HEIGHT 768
#define SIZE (WIDTH * HEIGHT * 4)

static GstBuffer *
make_frame (GstAllocator * allocator, guint number)
{
  GstAllocationParams params;
  GstMemory *memory;
  GstMapInfo map;
  GstBuffer *frame;
  guint x, y;

  gst_allocation_params_init (&params);
  params.prefix = 64;
  params.flags = GST_MEMORY_FLAG_ZERO_PREFIXED;
  memory = gst_allocator_alloc (allocator, SIZE, &params);
  if (memory == NULL)
    return NULL;
  g_print ("frame %u dmabuf %d fd %d size %" G_GSIZE_FORMAT " offset %"
      G_GSIZE_FORMAT "\n", number, gst_is_dmabuf_memory (memory),
      gst_is_fd_memory (memory), memory->size, memory->offset);
  if (!gst_memory_map (memory, &map, GST_MAP_WRITE)) {
    gst_memory_unref (memory);
    return NULL;
  }
  for (y = 0; y < HEIGHT; y++) {
    for (x = 0; x < WIDTH; x++) {
      guint8 *pixel = map.data + (y * WIDTH + x) * 4;
      pixel[0] = x;
      pixel[1] = y;
      pixel[2] = number;
      pixel[3] = 0;
    }
  }
  gst_memory_unmap (memory, &map);
  frame = gst_buffer_new ();
  gst_buffer_append_memory (frame, memory);
  GST_BUFFER_PTS (frame) = number * GST_SECOND / 30;
  GST_BUFFER_DURATION (frame) = GST_SECOND / 30;
  return frame;
}

int
main (int argc, char **argv)
{
  GstAllocator *allocator;
  GstElement *pipeline, *source;
  GstCaps *caps;
  GstMessage *message;
  GstPlugin *plugin;
  GError *error = NULL;
  gchar *line;
  guint number, frames;
  int status = EXIT_SUCCESS;

  if (argc != 4) {
    g_printerr ("usage: %s ALLOCATOR SINK FRAMES\n", argv[0]);
    return 2;
  }
  gst_init (NULL, NULL);
  frames = atoi (argv[3]);
  /* The allocators are there once the plugin is loaded. */
  plugin = gst_plugin_load_by_name ("dmabufcpu");
  if (plugin == NULL) {
    g_printerr ("no plugin dmabufcpu on GST_PLUGIN_PATH\n");
    return EXIT_FAILURE;
  }
  gst_object_unref (plugin);
  allocator = gst_allocator_find (argv[1]);
  if (allocator == NULL) {
    g_printerr ("no allocator %s\n", argv[1]);
    return EXIT_FAILURE;
  }
  line = g_strdup_printf ("appsrc name=source format=time block=true max-bytes=%d"
      " ! dmabuffilter name=filter invert=true ! %s", 3 * SIZE, argv[2]);
  pipeline = gst_parse_launch (line, &error);
  g_free (line);
  if (error != NULL) {
    g_printerr ("%s\n", error->message);
    return EXIT_FAILURE;
  }
  source = gst_bin_get_by_name (GST_BIN (pipeline), "source");
  caps = gst_caps_from_string ("video/x-raw,format=BGRx,width=1024,height=768,"
      "framerate=30/1");
  gst_app_src_set_caps (GST_APP_SRC (source), caps);
  gst_caps_unref (caps);
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  for (number = 0; number < frames; number++) {
    GstBuffer *frame = make_frame (allocator, number);
    if (frame == NULL) {
      g_printerr ("no memory from %s\n", argv[1]);
      status = EXIT_FAILURE;
      break;
    }
    if (gst_app_src_push_buffer (GST_APP_SRC (source), frame) != GST_FLOW_OK) {
      status = EXIT_FAILURE;
      break;
    }
  }
  gst_app_src_end_of_stream (GST_APP_SRC (source));
  message = gst_bus_timed_pop_filtered (GST_ELEMENT_BUS (pipeline),
      status == EXIT_SUCCESS ? 120 * GST_SECOND : 0,
      GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
  if (message == NULL || GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR) {
    status = EXIT_FAILURE;
    if (message != NULL) {
      gst_message_parse_error (message, &error, NULL);
      g_printerr ("%s\n", error->message);
    }
  }
  g_clear_pointer (&message, gst_message_unref);
  if (status == EXIT_SUCCESS) {
    GstElement *filter = gst_bin_get_by_name (GST_BIN (pipeline), "filter");
    GstStructure *stats;
    guint64 in_place = 0, copied = 0;

    g_object_get (filter, "stats", &stats, NULL);
    gst_structure_get_uint64 (stats, "frames-in-place", &in_place);
    gst_structure_get_uint64 (stats, "frames-copied", &copied);
    g_print ("done %" G_GUINT64_FORMAT " copied %" G_GUINT64_FORMAT "\n",
        in_place + copied, copied);
    gst_structure_free (stats);
    gst_object_unref (filter);
    fflush (stdout);
    /* Whoever looks at the display says when he has seen enough. */
    if (getenv ("WAIT_FOR_INPUT") != NULL)
      getchar ();
  }
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (source);
  gst_object_unref (pipeline);
  gst_object_unref (allocator);
  return status;
}
