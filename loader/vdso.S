# The vDSO's image, made by the Makefile from loader/vdso/: whole pages, mapped as they stand.
    .section .rodata.vdso, "a", @progbits
    .balign 4096
    .globl vdso_image, vdso_image_end
vdso_image:
    .incbin VDSO_IMAGE
    .balign 4096
vdso_image_end:

    .section .note.GNU-stack, "", @progbits
