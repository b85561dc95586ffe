/** The current time, updated every 5 seconds, for relative times. */
import { ref } from 'vue'

export const now = ref(Date.now())
setInterval(() => {
  now.value = Date.now()
}, 5000)
