"""Docstring entries that the classes of this room share."""

__all__ = ["ENCODER_DOCS", "SHARED_DOCS"]

# Parameters and attributes that several classes share, filled into their docstrings.
SHARED_DOCS = {
    "heads": """
        heads : {"mlp", "linear"}, default="mlp"
            Whether the head of a task is a network of two hidden layers of 32 units, or linear.
        """,
    "task_weight": """
        task_weight : array-like of shape (n_tasks,), default=None
            Weights of the tasks. None is equal weights: losses are in units of the loss of the
            null model, so that neither the scale of a task nor its number of labels matters.
        """,
    "task_types": """
        task_types : {"amount", "label"}, list or dict of {str: str}, default=None
            Kinds of the tasks: one for all, one per task, or those of some tasks by name. None
            takes floats for amounts (continuous tasks), and integers, booleans and strings for
            class labels, whether or not values are missing.
        """,
    "batch_size": """
        batch_size : int, default=128
            Number of steps in a batch; whole sequences, at least 16 of them.
        """,
    "learning_rate": """
        learning_rate : float, default=0.03
            Largest learning rate of a one-cycle schedule, with which so large a rate is safe. A
            smaller one ends in poor local optima more often.
        """,
    "early_stopping": """
        early_stopping : bool, default=False
            Whether each training after the search holds out a tenth of the samples, stops when
            their loss no longer falls, and returns to the best epoch. By default all samples
            are used.
        """,
    "validation_fraction": """
        validation_fraction : float, default=0.2
            Part of the samples, or of the groups, that the search holds out.
        """,
    "callbacks": """
        callbacks : list of skorch callbacks, default=None
            Further callbacks of the training with the penalty, and of its repetitions where a
            task was lost.
        """,
    "device": """
        device : str or torch.device, default="cpu"
            Device of the training, such as "cuda"; "auto" is CUDA if available, else the CPU.
            The fitted networks are on the CPU. Random numbers are the same on all devices, and
            results differ by rounding errors.
        """,
    "checkpoint_dir": """
        checkpoint_dir : path-like, default=None
            Directory in which the fit is saved while it runs, every 10 seconds at most, in a
            folder of its own. A fit that was killed continues when it is called again with the
            same data, parameters and versions, and one that was finished returns at once; the
            result is, to the last bit, that of an undisturbed fit on the same machine, unless
            ``device`` has changed. It
            requires an integer ``random_state``, and no ``callbacks``. Nothing is removed:
            remove the directory when you have the result. None saves nothing.
        """,
    "warm_start": """
        warm_start : bool, default=False
            Whether the training with the penalty starts from the networks of the previous fit,
            without a search. The data must have the same features and tasks.
        """,
    "random_state": """
        random_state : int, RandomState instance or None, default=None
            Initial weights, batches and held-out samples. The same integer gives the same
            numbers; torch's global generator is not changed.
        """,
    "verbose": """
        verbose : int, default=0
            Whether skorch prints a line per epoch.
        """,
    "cv": """
        cv : int, splitter or iterable, default=5
            Folds: a number of random ones, which keep groups together if there are any, or
            anything that scikit-learn's ``cv`` accepts. A sample in several test sets counts
            in the last.
        """,
    "n_subsamples": """
        n_subsamples : int, default=None
            Number of random half-samples to which the model is fitted as well, for
            ``selection_frequency_``. None is none; 20 give a clear picture, at a cost.
        """,
    "path_attributes": """
        sparsity_ : float
            The chosen point, a share of ``sparsity_max_``.
        sparsity_max_ : float
            Task loss of the null model minus that of the best point; a penalty of that weight
            leaves nothing.
        sparsity_path_ : ndarray of shape (n_points,), float64
            From 0, dense, to 1, empty: the smallest share with which a point is chosen over all
            denser ones.
        scores_path_ : ndarray of shape (n_points, n_folds), float64
            Held-out share of the task loss that is explained: 1 minus the loss, in units of
            that of the null model.
        n_active_path_ : ndarray of shape (n_points,), float64
            Number of latents that some task uses, the mean over folds.
        support_path_ : ndarray of shape (n_points, n_tasks, n_components), float64
            Share of the folds in which a task may use a latent.
        best_index_ : int
            The chosen point.
        """,
    "fit_attributes": """
        history_ : list of dict
            Losses of each epoch of each training (``phase`` is "search", "sparse", "refit" or
            "reconstruction"); in the search the sum over all networks that learn side by side.
        n_iter_ : int
            Number of epochs of the training with the penalty.
        tasks_ : TaskTargets
            The tasks of ``y``.
        step_mask_ : ndarray of shape (n_timesteps, n_tasks) or None
            Weights of the steps where they are the same for all sequences.
        step_weights_ : ndarray of shape (n_timesteps, n_tasks) or None
            ``step_mask_`` times the learned importance of each step in a task, whose mean square
            over the steps of a task is 1. Negative where a step has the opposite sign. None
            unless ``step_weights`` had one row per step.
        nuisance_remover_ : NuisanceRemover or None
            Transformer of the features, if ``fit`` had nuisances.
        nuisance_scores_ : list of dict
            One entry per nuisance and per task, if ``fit`` had nuisances: ``name``, ``chance``, and
            accuracy or R2 of held-out predictions by ridge regression with kernel functions,
            from the features ``before`` and ``after`` the nuisances were erased and, of
            nuisances, from the latents (``specialist``).
        module_ : torch.nn.Module
            All networks, trained.
        n_features_in_ : int
            Number of features of a step.
        feature_names_in_ : ndarray of shape (n_features_in_,)
            Their names, if ``X`` had string column names.
        """,
}

# Entries of the encoders, whose latents are learned.
ENCODER_DOCS = {
    "n_components": """
        n_components : int, default=None
            Number of all latents. None is the number of principal components that explain
            99.9 % of the variance of the features, at most 32.
        """,
    "penalty": """
        penalty : {"auto", "l1", "hard_concrete"} or instance of a penalty, default="auto"
            Penalty on the mask: "l1" is ``L1()``, a sparse group lasso, "hard_concrete" is
            ``HardConcrete()``, random gates. "auto" is "l1". Its weight is the product of
            sparsity (or tolerance) and ``sparsity_max_``.
        """,
    "independence_weight": """
        independence_weight : float, default=0.3
            Weight of the dependence between the latents of the tasks and the others, in units
            of the reconstruction error: the Hilbert-Schmidt independence criterion, scaled to
            [0, 1]. Without it the others repeat in part the content of the tasks' latents. It
            changes the others only. Where relevant and irrelevant latents of the data depend
            on each other, the others contain the rest of the irrelevant ones.
        """,
    "decoder": """
        decoder : {"lazy", "fit"} or None, default="lazy"
            When the decoder, and the latents that no task uses, are trained. "lazy" is the
            first call of ``inverse_transform`` or ``latents``: most uses need neither, and
            save the time. Until then the standardized training data are kept, in single
            precision, and pickled with the estimator. "fit" trains them in the fit, with the
            same result, and keeps no data. None leaves them out: those methods raise an error.
        """,
    "hidden_layer_sizes": """
        hidden_layer_sizes : tuple of int, default=(128, 128)
            Hidden layers of the encoder; those of the decoder are the reverse.
        """,
    "input_noise": """
        input_noise : float or "auto", default="auto"
            Standard deviation of the normal noise that is added to the standardized features
            while the tasks are learned, against overfitting [3]_. "auto" tries 0 and 0.3 with
            dense networks, and takes 0.3 if its held-out loss is within one standard error of
            the best: curved tasks with many samples need none, few or noisy samples some.
            Without a search "auto" is 0.
        """,
    "latent_attributes": """
        mask_ : ndarray of shape (n_tasks, n_components), float64
            How much each task uses each latent; exact zeros. Within the latents that are kept
            the mask depends on the coordinates that the encoder chose, which are not unique.
        support_ : ndarray of shape (n_components,), bool
            Latents that some task uses.
        input_noise_ : float
            Standard deviation of the noise that the latents were learned with.
        inseparable_groups_ : list of tuple of int
            Groups of latents of the support that are identified together only. With heads
            that are not linear, the whole support; with linear ones, latents that occur
            together in too many tasks.
        n_components_ : int
            Number of latents.
        """,
    "references": """
        .. [1] Zheng, Feng, Li, Xie, Murphy and Zhang, From generalist to specialist
           representation, ICML 2026, arXiv:2605.12733.
        .. [2] Yun, Lozano and Yang, Adaptive proximal gradient methods for structured neural
           networks, NeurIPS 2021.
        .. [3] Bishop, Training with noise is equivalent to Tikhonov regularization, Neural
           Computation 7, 1995.
        """,
}
