// What another library in the process might do: a thread that takes the end of every child.
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

static void *reap(void *unused) {
  for (;;) {
    if (waitpid(-1, NULL, 0) < 0) usleep(100);
  }
  return unused;
}

__attribute__((constructor)) static void start(void) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, reap, NULL) == 0) pthread_detach(thread);
}
