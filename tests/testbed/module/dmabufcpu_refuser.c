// SPDX-License-Identifier: MPL-2.0 OR GPL-2.0
/*
 * Exports dma-bufs that refuse on request, for tests, what an exporter may refuse: a page, on first
 * access or after it was unmapped, and the start and end of CPU access. No driver in the kernel can
 * be made to do so.
 *
 * ioctl number 0 of /dev/dmabufcpu-refuser creates a buffer with the given number of pages (a u64)
 * and returns its file descriptor. The module parameters select what all buffers refuse.
 */
#include <linux/dma-buf.h>
#include <linux/fs.h>
#include <linux/list.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/version.h>

struct buffer {
	struct list_head entry;
	struct dma_buf *dmabuf;
	unsigned long count;
	struct page *pages[];
};

static LIST_HEAD(buffers);
static DEFINE_MUTEX(lock);

/* Index of the refused page; -1: none. */
static int page = -1;
/* The errno with which the start and the end of CPU access fail; 0: success. */
static int start;
module_param(start, int, 0644);
static int end;
module_param(end, int, 0644);
/* Number of starts and ends to refuse before they succeed; -1: all. */
static int times = -1;
module_param(times, int, 0644);

static int set_page(const char *value, const struct kernel_param *param)
{
	struct buffer *buffer;
	int error = param_set_int(value, param);

	if (error)
		return error;
	/* Unmap all pages, so that each access faults again. */
	mutex_lock(&lock);
	list_for_each_entry(buffer, &buffers, entry)
		unmap_mapping_range(buffer->dmabuf->file->f_mapping, 0, 0, 1);
	mutex_unlock(&lock);
	return 0;
}

static const struct kernel_param_ops page_ops = {
	.set = set_page,
	.get = param_get_int,
};
module_param_cb(page, &page_ops, &page, 0644);

static vm_fault_t fault(struct vm_fault *vmf)
{
	struct buffer *buffer = vmf->vma->vm_private_data;

	if (vmf->pgoff >= buffer->count || (int)vmf->pgoff == READ_ONCE(page))
		return VM_FAULT_SIGBUS;
	vmf->page = buffer->pages[vmf->pgoff];
	get_page(vmf->page);
	return 0;
}

static const struct vm_operations_struct vm_ops = {
	.fault = fault,
};

static int map(struct dma_buf *dmabuf, struct vm_area_struct *vma)
{
	vma->vm_ops = &vm_ops;
	vma->vm_private_data = dmabuf->priv;
	return 0;
}

static int refuse(int error)
{
	if (!error || !READ_ONCE(times))
		return 0;
	if (times > 0)
		times--;
	return -error;
}

static int begin_access(struct dma_buf *dmabuf, enum dma_data_direction direction)
{
	return refuse(READ_ONCE(start));
}

static int end_access(struct dma_buf *dmabuf, enum dma_data_direction direction)
{
	return refuse(READ_ONCE(end));
}

static struct sg_table *attach_nothing(struct dma_buf_attachment *attachment,
				       enum dma_data_direction direction)
{
	return ERR_PTR(-ENODEV);
}

static void detach_nothing(struct dma_buf_attachment *attachment, struct sg_table *table,
			   enum dma_data_direction direction)
{
}

static void free_buffer(struct buffer *buffer)
{
	unsigned long number;

	for (number = 0; number < buffer->count; number++)
		put_page(buffer->pages[number]);
	kfree(buffer);
}

static void release(struct dma_buf *dmabuf)
{
	struct buffer *buffer = dmabuf->priv;

	mutex_lock(&lock);
	list_del(&buffer->entry);
	mutex_unlock(&lock);
	free_buffer(buffer);
}

static const struct dma_buf_ops ops = {
	.map_dma_buf = attach_nothing,
	.unmap_dma_buf = detach_nothing,
	.release = release,
	.mmap = map,
	.begin_cpu_access = begin_access,
	.end_cpu_access = end_access,
};

static long make(struct file *file, unsigned int command, unsigned long argument)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct buffer *buffer;
	u64 count;
	int fd;

	if (_IOC_NR(command))
		return -ENOTTY;
	if (get_user(count, (u64 __user *)argument))
		return -EFAULT;
	if (!count || count > 1024)
		return -EINVAL;
	buffer = kzalloc(struct_size(buffer, pages, count), GFP_KERNEL);
	if (!buffer)
		return -ENOMEM;
	for (; buffer->count < count; buffer->count++) {
		buffer->pages[buffer->count] = alloc_page(GFP_KERNEL | __GFP_ZERO);
		if (!buffer->pages[buffer->count]) {
			free_buffer(buffer);
			return -ENOMEM;
		}
	}
	info.ops = &ops;
	info.size = count << PAGE_SHIFT;
	info.flags = O_RDWR;
	info.priv = buffer;
	buffer->dmabuf = dma_buf_export(&info);
	if (IS_ERR(buffer->dmabuf)) {
		long error = PTR_ERR(buffer->dmabuf);

		free_buffer(buffer);
		return error;
	}
	mutex_lock(&lock);
	list_add(&buffer->entry, &buffers);
	mutex_unlock(&lock);
	fd = dma_buf_fd(buffer->dmabuf, O_CLOEXEC);
	if (fd < 0)
		dma_buf_put(buffer->dmabuf);
	return fd;
}

static const struct file_operations file_ops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = make,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "dmabufcpu-refuser",
	.fops = &file_ops,
};
module_misc_device(device);

/* Namespaces became strings with Linux 6.13. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 13, 0)
MODULE_IMPORT_NS(DMA_BUF);
#else
MODULE_IMPORT_NS("DMA_BUF");
#endif
MODULE_DESCRIPTION("dma-bufs that refuse");
MODULE_LICENSE("Dual MPL/GPL");
