import './identity/signInLink'
import { createApp, h } from 'vue'
import App from './App.vue'
import ErrorBoundary from './components/ErrorBoundary.vue'
import { keepFocus } from './forms/focus'
import { reportErrors } from './api/failure'
import { t } from './text/preferences'
import { router } from './router'
import { start } from './identity/session'
import './styles/tokens.css'
import './styles/base.css'

const app = createApp({ render: () => h(ErrorBoundary, { title: t('problem.error') }, () => h(App)) })
reportErrors(app, router)
keepFocus()
app.use(router).mount('#app')
void start()
