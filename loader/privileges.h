// What a program may do: the credentials after execve(2), from those before and what its file says. capabilities(7).
#ifndef LOADER_PRIVILEGES_H
#define LOADER_PRIVILEGES_H

struct exec_image;
struct file;

// Fills in img->cred, img->secure, img->raised and img->unreadable. 0, -EPERM (the file insists on capabilities that cannot be given), -EINVAL (its
// capabilities cannot be understood).
int privileges_choose(struct exec_image *img, const struct file *f);

#endif
