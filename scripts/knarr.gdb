# For gdb on the kernel (docs/debugging.md): gdb -x scripts/knarr.gdb build/knarr.debug.elf
set pagination off
set print pretty on

define knarr-threads
  set $process_node = process_list.next
  while $process_node != &process_list
    set $p = (struct process *)((char *)$process_node - (unsigned long)&((struct process *)0)->all_link)
    printf "process %d, group %d, session %d\n", $p->pid, $p->pgid, $p->sid
    set $thread_node = $p->threads.next
    while $thread_node != &$p->threads
      set $t = (struct thread *)((char *)$thread_node - (unsigned long)&((struct thread *)0)->process_link)
      printf "  thread %d %s, CPU %d, work %#x, struct thread %p: ", $t->tid, $t->name, $t->cpu, $t->work, $t
      output $t->state
      printf "\n"
      if $t->state == THREAD_SLEEPING || $t->state == THREAD_SLEEPING_INTERRUPTIBLE
        knarr-stack $t
      end
      set $thread_node = $thread_node->next
    end
    set $process_node = $process_node->next
  end
end
document knarr-threads
All processes with their threads; of those that sleep, where.
end

define knarr-stack
  # What context_switch pushed: r15 r14 r13 r12 rbx rbp rip.
  set $frame_pointer = ((unsigned long *)((struct thread *)$arg0)->context.sp)[5]
  set $depth = 0
  while $frame_pointer > (unsigned long)((struct thread *)$arg0)->stack && $frame_pointer < ((struct thread *)$arg0)->context.stack_top - 16 && $depth < 20
    output/a ((unsigned long *)$frame_pointer)[1]
    printf "\n"
    set $frame_pointer = *(unsigned long *)$frame_pointer
    set $depth = $depth + 1
  end
end
document knarr-stack
knarr-stack THREAD: the kernel's call chain of a thread that does not run.
end
